// webhook-forwarder on Azure Functions: a Flex Consumption app (Linux), its secrets in a Key Vault, and an alert for each
// way in which Azure would rather refuse a webhook than take it.

@description('Name of the app, and so of its address https://NAME.azurewebsites.net')
@minLength(3)
@maxLength(40)
param name string

param location string = resourceGroup().location

@description('QUEUE_URL: amqps://user:password@host/vhost, or https://user:password@host/api/exchanges/vhost/exchange/publish')
@secure()
param queueUrl string

@description('The key that e-conomic presents as ?code=. The app itself gets the same one: see README.md')
@secure()
@minLength(16)
param accessKey string

@description('How many webhooks one instance takes at a time. The more, the fewer instances, and connections to RabbitMQ')
@minValue(1)
@maxValue(1000)
param concurrency int = 500

@description('The most instances: Azure answers 429 by itself when these are not enough')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 100

@allowed([512, 2048, 4096])
param instanceMegabytes int = 2048

@description('Id of the action group that hears of alerts. Without one they only show')
param actionGroupId string = ''

var unique = uniqueString(resourceGroup().id, name)
var roles = {
  storageBlobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  keyVaultSecretsUser: '4633458b-17de-408a-b874-0445c86b69e6'
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: 'webhooks${unique}'
  location: location
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'packages'
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: 'webhooks${take(unique, 13)}'
  location: location
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
  }
}

resource queueUrlSecret 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: 'queue-url'
  properties: {
    value: queueUrl
  }
}

resource accessKeySecret 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: 'e-conomic-access-key'
  properties: {
    value: accessKey
  }
}

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: '${name}-logs'
  location: location
  properties: {
    retentionInDays: 30
    sku: {
      name: 'PerGB2018'
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logs.id
  }
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: '${name}-plan'
  location: location
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  kind: 'functionapp,linux'
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages.name}'
          authentication: {
            type: 'SystemAssignedIdentity'
          }
        }
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMegabytes
        maximumInstanceCount: maximumInstances
        triggers: {
          http: {
            perInstanceConcurrency: concurrency
          }
        }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      appSettings: [
        {
          name: 'AzureWebJobsStorage__accountName'
          value: storage.name
        }
        {
          name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
          value: insights.properties.ConnectionString
        }
        {
          name: 'QUEUE_URL'
          value: '@Microsoft.KeyVault(SecretUri=${queueUrlSecret.properties.secretUri})'
        }
        {
          name: 'SOURCE_E_CONOMIC_ACCESS_KEY'
          value: '@Microsoft.KeyVault(SecretUri=${accessKeySecret.properties.secretUri})'
        }
        {
          name: 'SOURCE_E_CONOMIC_PATH'
          value: '/api/WebhookForwarder'
        }
      ]
    }
  }
}

resource mayUseStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, name, roles.storageBlobDataOwner)
  scope: storage
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataOwner)
  }
}

resource mayReadSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, name, roles.keyVaultSecretsUser)
  scope: vault
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.keyVaultSecretsUser)
  }
}

resource notTaken 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-webhooks-not-taken'
  location: location
  properties: {
    description: 'Webhooks are answered 5xx (RabbitMQ cannot take them) or 429 (Azure has no room). Providers send them again, but only for a while'
    severity: 1
    enabled: true
    scopes: [
      insights.id
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'requests | where toint(resultCode) >= 500 or resultCode == "429"'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: {
      actionGroups: empty(actionGroupId) ? [] : [actionGroupId]
    }
  }
}

output webhookUrl string = 'https://${app.properties.defaultHostName}/api/webhooks/e-conomic/TYPE?code=KEY'
output guideUrl string = 'https://${app.properties.defaultHostName}/api/WebhookForwarder?code=KEY'
